"""What ``benchmarks.scale_crosses`` measured, as tables of docs/scale.md, and the plan that follows from it."""

from __future__ import annotations

from typing import Any

DAY = 4_000_000_000
CORES = 32
"""Cores of a machine, in the plan."""
EFFICIENCY = 0.7
"""Share of so many cores' time that is assumed to be left when all of them work and the work is shared out."""
DISK = 1.0e9
"""Bytes a second that a machine is assumed to read from where the log lies."""

Result = dict[str, Any]


def rate(size: Result, what: str) -> float:
    """Return rows a second of processor time."""
    return float(size["rows"] / size[what]["processor_s"])


def table(result: Result) -> str:
    """Return rows a second and peak memory by size."""
    lines = [
        "| rows | log, GB | fit, rows/s | transform, rows/s | peak of fit, GB | peak of transform, GB | passes of fit |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {size['rows'] / 1e6:.0f} million | {size['log_bytes'] / 1e9:.2f} | {rate(size, 'fit'):,.0f} "
        f"| {rate(size, 'transform'):,.0f} | {size['fit']['peak_gb']:.2f} | {size['transform']['peak_gb']:.2f} "
        f"| {size['fit']['passes']} |"
        for size in result["sizes"]
    ]
    return "\n".join(lines)


def compared(result: Result) -> str:
    """Return microseconds a row against dictionary loops, frames in memory, and bare reading and writing."""
    size, loop, bare, memory = (
        result["sizes"][-1],
        result["loop"],
        result["bare"],
        result["in_memory"],
    )
    ours = 1e6 / rate(size, "fit") + 1e6 / rate(size, "transform")
    needed = bare["fit_us_a_row"] + bare["transform_us_a_row"]
    first = result["sizes"][0]["rows"]
    in_memory = (memory["fit_s"] + memory["transform_s"]) / first * 1e6
    rows = [
        (f"ours, {size['rows'] / 1e6:.0f} million rows, files to files", ours),
        ("of which reading and writing Parquet and nothing else", needed),
        ("ours, less reading and writing", ours - needed),
        (f"`fit_crosses` and `transform` of a frame in memory, {first / 1e6:.0f} million rows", in_memory),
        (f"dictionary loop over NumPy rows, {loop['rows']:,} rows in memory", loop["rows_us_a_row"]),
        ("dictionary loop over lists, keys zipped", loop["lists_us_a_row"]),
    ]
    lines = [
        "| fit and transform, one core | microseconds a row | the loop over NumPy rows takes |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {time:.2f} | {loop['rows_us_a_row'] / time:.1f} times as long |" for name, time in rows
    ]
    return "\n".join(lines)


def engines(result: Result) -> str:
    """Return what counting costs by other engines."""
    names = {
        "ours": "NumPy, frequent ids first (ours)",
        "polars": "Polars, streaming",
        "duckdb": "DuckDB, grouping sets",
    }
    lines = [
        "| engine, one thread | processor time, s | peak, GB | combinations found |",
        "|---|---|---|---|",
    ]
    for name, one in result["engines"].items():
        lines.append(
            f"| {names[name]} | {one['processor_s']:.1f} | {one['peak_gb']:.2f} | {one['combinations']:,} |"
        )
    return "\n".join(lines)


def filters(result: Result) -> str:
    """Return what the filters of a small budget let through."""
    small = result["small"]
    lines = [
        f"| {small['memory']}, 10 million rows | rare ids pass with probability | distinct ids that passed | frequent |",
        "|---|---|---|---|",
    ]
    for name, one in small["filters"].items():
        lines.append(f"| `{name}` | {one['leak']:.4%} | {one['passed']:,} | {one['kept']:,} |")
    same = "the same crosses" if small["identical"] else "OTHER CROSSES"
    lines += [
        "",
        (
            f"{small['passes']} passes, {small['processor_s']:.1f} s of processor time, a peak of {small['peak_gb']:.2f} GB, "
            f"and {same}."
        ),
    ]
    return "\n".join(lines)


def row(result: Result) -> str:
    """Return microseconds of one row."""
    one = result["row"]
    lines = ["| 39 fields, 40 crosses | microseconds a row |", "|---|---|"]
    for name, key in (
        ("`crosses.row(mapping)`", "mapping_us"),
        ("`crosses.row(list)`", "list_us"),
        ("`crosses.transform(frame of one row)`", "transform_us"),
    ):
        lines.append(f"| {name} | {one[key]:.1f} |")
    equal = "Equal" if one["mapping_equal"] and one["list_equal"] else "NOT EQUAL"
    lines += [
        "",
        (
            f"{one['transform_us'] / one['mapping_us']:.0f} times as fast; prepared in {one['prepare_s'] * 1000:.0f} ms. {equal} "
            "to transform on all rows timed."
        ),
    ]
    return "\n".join(lines)


def plan(result: Result) -> str:
    """Return what a day of four billion rows takes."""
    size = result["sizes"][-1]
    log, ids = (DAY * size[key] / size["rows"] / 1e9 for key in ("log_bytes", "ids_bytes"))
    lines = [
        f"| a day of {DAY / 1e9:.0f} billion rows | fit on all of it | transform |",
        "|---|---|---|",
    ]
    hours = {what: DAY / rate(size, what) / 3600 for what in ("fit", "transform")}
    machine = {what: time / CORES / EFFICIENCY for what, time in hours.items()}
    # Two of the three passes read all columns, the other one the dense ones.
    read = {"fit": (2 + size["dense_share"]) * log, "transform": log}
    rows = [
        ("core-hours", *(f"{hours[what]:.1f}" for what in hours)),
        (f"minutes on one machine of {CORES} cores", *(f"{machine[what] * 60:.0f}" for what in machine)),
        ("GB read", *(f"{read[what]:,.0f}" for what in read)),
        ("GB written", "0", f"{ids:,.0f}"),
        (
            f"minutes to read it at {DISK / 1e9:.0f} GB/s",
            *(f"{read[what] * 1e9 / DISK / 60:.0f}" for what in read),
        ),
    ]
    lines += [f"| {' | '.join(one)} |" for one in rows]
    return "\n".join(lines)
