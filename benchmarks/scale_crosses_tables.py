"""What ``benchmarks.scale_crosses`` measured, as tables of docs/scale.md, and the plan that follows from it."""

from __future__ import annotations

import statistics
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


def clock(size: Result, what: str) -> float:
    """Return rows a second of the clock on the wall, on all cores."""
    return float(size["rows"] / size[f"{what}_all"]["wall_s"])


def table(result: Result) -> str:
    """Return rows a second and peak memory by size."""
    cores = result["cores"]
    lines = [
        (
            f"| rows | log, GB | fit, rows/s, 1 core | {cores} cores | transform, rows/s, 1 core | {cores} cores "
            "| peak of fit, GB | peak of transform, GB | passes of fit |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {size['rows'] / 1e6:.0f} million | {size['log_bytes'] / 1e9:.2f} "
        f"| {rate(size, 'fit'):,.0f} | {clock(size, 'fit'):,.0f} "
        f"| {rate(size, 'transform'):,.0f} | {clock(size, 'transform'):,.0f} "
        f"| {peak(size, 'fit'):.2f} | {peak(size, 'transform'):.2f} | {size['fit']['passes']} |"
        for size in result["sizes"]
    ]
    return "\n".join(lines)


def peak(size: Result, what: str) -> float:
    """Return the peak of memory on one core or all, whichever is more."""
    return float(max(size[what]["peak_gb"], size[f"{what}_all"]["peak_gb"]))


def io_of_fit(size: Result, bare: Result) -> float:
    """Return microseconds a row of reading what the passes of a fit read: all columns twice, and in a third the dense ones."""
    return float(2 * bare["read_us_a_row"] + (size["fit"]["passes"] - 2) * bare["read_dense_us_a_row"])


def in_memory(measured: Result, kind: str) -> float:
    """Return microseconds a row of a frame in memory: the median run."""
    times = [run[f"fit_{kind}_s"] + run[f"transform_{kind}_s"] for run in measured["runs"]]
    return float(statistics.median(times) / measured["rows"] * 1e6)


def compared(result: Result) -> str:
    """Return microseconds a row against dictionary loops, of frames in memory and of files, on one core and on all."""
    few, many, size = (result["sizes"][i] for i in (0, 1, -1))
    bare, cores = result["bare"], result["cores"]
    plain, ours = per_row(size["numpy"], size["rows"]), per_row(size, size["rows"])
    needed = io_of_fit(size, bare) + bare["read_us_a_row"] + bare["write_us_a_row"]
    # The machine's speed changes from one size to the next, and one loop takes but a moment of it.
    loops = [one["loop"] for one in result["sizes"]]
    slow, lists = (statistics.median(one[f"{what}_us_a_row"] for one in loops) for what in ("rows", "lists"))
    parquet = statistics.median(one["parquet_us_a_row"] for one in loops)
    name = {
        one["rows"]: f"{one['rows'] / 1e6:.0f} million rows" + (", compiled" if one["compiled"] else "")
        for one in (few, many, size)
    }
    rows = [
        (f"a frame in memory, {name[one['rows']]}", used, in_memory(result[key], kind))
        for one, where in ((few, "in_memory"), (many, "in_memory_many"))
        for used, key, kind in ((1, where, "processor"), (cores, f"{where}_all", "wall"))
    ]
    rows += [
        (f"files to files, {text}", used, time)
        for text, times in ((f"{size['rows'] / 1e6:.0f} million rows", plain), (name[size["rows"]], ours))
        for used, time in zip((1, cores), times, strict=True)
    ]
    rows += [
        ("of which reading and writing Parquet and nothing else", 1, needed),
        ("files to files, compiled, less reading and writing", 1, ours[0] - needed),
        (f"dictionary loop over NumPy rows, {loops[0]['rows']:,} rows in memory", 1, slow),
        ("the same loop, reading and writing Parquet", 1, slow + parquet),
        ("dictionary loop over lists, keys zipped, in memory", 1, lists),
    ]
    lines = [
        "| fit and transform | cores | microseconds a row | the loop over NumPy rows takes |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {text} | {used} | {time:.2f} | {slow / time:.1f} times as long |" for text, used, time in rows
    ]
    first = in_memory(result["in_memory"] | {"runs": [result["in_memory"]["first"]]}, "processor")
    spread = sorted(one["rows_us_a_row"] for one in loops)
    lines += [
        "",
        (
            f"The loop was timed beside each size, {spread[0]:.0f} to {spread[-1]:.0f} microseconds a row; this is the median. A frame in "
            f"memory: the median of {len(result['in_memory']['runs'])} runs. The first one in a process, into memory that the system has "
            f"to find and clear, takes {first:.2f} microseconds a row for {few['rows'] / 1e6:.0f} million rows on one core "
            f"({slow / first:.0f} times)."
        ),
    ]
    return "\n".join(lines)


def per_row(measured: Result, rows: int) -> tuple[float, float]:
    """Return microseconds a row of fit and transform, on one core and, by the clock, on all."""
    one = measured["fit"]["processor_s"] + measured["transform"]["processor_s"]
    every = measured["fit_all"]["wall_s"] + measured["transform_all"]["wall_s"]
    return one / rows * 1e6, every / rows * 1e6


def encodings(result: Result) -> str:
    """Return what it costs to write cross ids in several ways."""
    names = {
        "packed": "packed in bits (ours)",
        "packed, zstd": "packed in bits, zstd",
        "dictionary, zstd": "dictionaries, zstd",
        "split, zstd": "bytes split, zstd",
    }
    lines = ["| 40 crosses | to write, microseconds a row | to read | bytes a row |", "|---|---|---|---|"]
    lines += [
        f"| {names[name]} | {one['write_us_a_row']:.2f} | {one['read_us_a_row']:.2f} | {one['bytes_a_row']:.0f} |"
        for name, one in result["encodings"]["ways"].items()
    ]
    return "\n".join(lines)


def loading(result: Result) -> str:
    """Return what compiled loops take to be there."""
    one = result["loading"]
    first, kept = (one[name] - one["without_s"] for name in ("first_s", "kept_s"))
    return (
        f"The first use ever compiles for {first:.0f} s; what it compiled is kept on disk, and loading it takes {kept:.1f} s, which "
        "few rows do not win back."
    )


def engines(result: Result) -> str:
    """Return what counting costs by other engines."""
    names = {
        "ours": "NumPy, frequent ids first (ours, not compiled)",
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
    # Two passes read all columns, a third one, if there is one, the dense ones.
    read = {"fit": (2 + (size["fit"]["passes"] - 2) * size["dense_share"]) * log, "transform": log}
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
