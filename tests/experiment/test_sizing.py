"""Sizes of experiments: against formulas of their own, by simulation, and from bad logs."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nid_plugins import FrameError, NidWarning, SettingError
from nid_plugins.experiment import Design, Metric, Variant, size, size_of_effect

pytest.importorskip("tea_tasting", reason="sizes need the extra ab")
ibis = pytest.importorskip("ibis", reason="reading files and warehouses needs the extra ab")
pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

TWO = (Variant("base", 0.5), Variant("crosses", 0.5))
THREE = (Variant("base", 0.5), Variant("b", 0.3), Variant("c", 0.2))


def per_unit(units: int, seed: int, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return impressions, clicks and summed base predictions of units with heavy tails and rates of their own."""
    rng = np.random.default_rng(seed)
    impressions = 1 + rng.geometric(1 / (1 + rng.pareto(3.0, units) * 4))
    rate = rng.beta(2, 18, units)
    prediction = rate * np.exp(rng.normal(0, 0.2, units)) * impressions
    return impressions, rng.binomial(impressions, np.minimum(rate * (1 + lift), 1.0)), prediction


def log_of(units: int, seed: int) -> pd.DataFrame:
    """Return the same as a log of impressions, in random order."""
    impressions, clicks, prediction = per_unit(units, seed)
    unit = np.repeat(np.arange(units), impressions)
    place = np.arange(len(unit)) - np.repeat(np.cumsum(impressions) - impressions, impressions)
    log = pd.DataFrame(
        {
            "user_id": unit,
            "click": (place < np.repeat(clicks, impressions)).astype(int),
            "base": np.repeat(prediction / impressions, impressions),
            "revenue": 0.5 * (place < np.repeat(clicks, impressions)),
        }
    )
    return log.sample(frac=1.0, random_state=seed, ignore_index=True)


LOG = log_of(6_000, seed=0)
DESIGN = Design("x", variants=TWO, mde=0.04)


def linearised(log: pd.DataFrame, top: str, below: str | None) -> np.ndarray:
    """Return each unit's part in a ratio of sums, by another road than the package: residuals over the mean denominator."""
    sums = log.assign(one=1.0).groupby("user_id").sum()
    if below is None:
        return (sums[top] - sums[top].mean()).to_numpy()
    ratio = sums[top].sum() / sums[below].sum()
    return ((sums[top] - ratio * sums[below]) / sums[below].mean()).to_numpy()


def textbook(control: float, treatment: float, design: Design, share: float, alpha: float) -> float:
    """Return the units of all variants: (z + z)^2 / d^2 (variance / share of the control + the same of the treatment)."""
    z = stats.norm.isf(alpha / 2) + stats.norm.isf(1 - design.power)
    return z**2 / design.mde**2 * (control / design.shares[0] + treatment / share)


def lifted(variance: float, log: pd.DataFrame, change: float) -> float:
    """Return the variance of clicks whose rates have grown: that between units by the square, that of the clicks with them."""
    a_click = (
        log["user_id"].nunique() / log["click"].sum()
    )  # relative, of one click among the mean number of a unit
    return (1 + change) ** 2 * (variance - a_click) + (1 + change) * a_click


def test_units_are_those_of_the_textbook():
    found = size(DESIGN, LOG, covariate="base")
    metric, other = linearised(LOG, "click", "one"), linearised(LOG, "base", "one")
    ctr = LOG["click"].mean()
    variance = metric.var(ddof=1) / ctr**2
    assert found.baseline == pytest.approx(ctr)
    assert found.variance == pytest.approx(variance)
    treated = lifted(variance, LOG, DESIGN.mde)
    assert found.units == pytest.approx(textbook(variance, treated, DESIGN, 0.5, 0.05), rel=1e-3)
    assert found.units_per_variant == {"base": found.units / 2, "crosses": found.units / 2}
    correlation = np.corrcoef(metric, other)[0, 1]
    assert found.correlation == pytest.approx(correlation)
    assert found.variance_saved == pytest.approx(correlation**2)
    assert found.variance_saved > 0.1
    left = (metric - np.polyfit(other, metric, 1)[0] * other).var(ddof=1) / ctr**2
    assert found.variance_cuped == pytest.approx(left)
    assert (found.sample_units, found.sample_impressions) == (6_000, len(LOG))
    assert found.days is None
    assert found.units_per_day is None


def test_units_with_a_covariate_whose_coefficient_is_that_of_both_variants():
    design = dataclasses.replace(DESIGN, variants=(Variant("base", 0.7), Variant("crosses", 0.3)), mde=0.2)
    parts = np.cov(linearised(LOG, "click", "one") / LOG["click"].mean(), linearised(LOG, "base", "one"))
    (variance, shared), (_, other) = parts
    slope = (0.7 * shared + 0.3 * 1.2 * shared) / other
    left = [
        of_arm - 2 * slope * grown * shared + slope**2 * other
        for of_arm, grown in ((variance, 1.0), (lifted(variance, LOG, 0.2), 1.2))
    ]
    expected = textbook(*left, design, 0.3, 0.05)
    assert size(design, LOG, covariate="base").units_cuped == pytest.approx(expected, rel=1e-3)


def test_unequal_weights_and_several_treatments():
    design = dataclasses.replace(DESIGN, variants=THREE)
    variance = linearised(LOG, "click", "one").var(ddof=1) / LOG["click"].mean() ** 2
    treated = lifted(variance, LOG, design.mde)
    for correction, alpha in (("holm", 0.025), ("bonferroni", 0.025), ("none", 0.05)):
        found = size(dataclasses.replace(design, correction=correction), LOG)
        assert found.alpha_comparison == alpha
        # The smallest treatment needs the most.
        assert found.units == pytest.approx(textbook(variance, treated, design, 0.2, alpha), rel=1e-3)
        assert found.units_per_variant["b"] == pytest.approx(0.3 * found.units, abs=1)


def test_a_mean_per_unit_and_another_ratio():
    mean = dataclasses.replace(DESIGN, primary=Metric.revenue(covariate="base"))
    found = size(mean, LOG)
    sums = LOG.groupby("user_id")[["revenue", "base"]].sum()
    assert found.baseline == pytest.approx(sums["revenue"].mean())
    assert found.variance == pytest.approx(sums["revenue"].var() / sums["revenue"].mean() ** 2)
    assert found.correlation == pytest.approx(sums.corr().iloc[0, 1])
    # What is summed, not counted, varies by its square.
    expected = textbook(
        found.variance, DESIGN.mde * (2 + DESIGN.mde) * found.variance + found.variance, mean, 0.5, 0.05
    )
    assert found.units == pytest.approx(expected, rel=1e-3)
    ratio = Metric("per_click", numerator="revenue", denominator="base", covariate="base")
    found = size(dataclasses.replace(DESIGN, primary=ratio), LOG)
    metric, other = linearised(LOG, "revenue", "base"), linearised(LOG, "base", "one")
    assert found.variance == pytest.approx(metric.var(ddof=1) / found.baseline**2)
    assert found.correlation == pytest.approx(np.corrcoef(metric, other)[0, 1])


def test_effect_of_a_size_is_the_way_back():
    found = size(DESIGN, LOG, covariate="base")
    back = size_of_effect(DESIGN, LOG, units=found.units, covariate="base")
    assert back.mde == pytest.approx(DESIGN.mde, rel=1e-3)
    assert back.mde_cuped == pytest.approx(DESIGN.mde * np.sqrt(1 - found.correlation**2), rel=1e-2)
    assert size_of_effect(DESIGN, LOG, units=found.units_cuped, covariate="base").mde_cuped == pytest.approx(
        DESIGN.mde, rel=1e-3
    )
    assert size_of_effect(DESIGN, LOG, units=4 * found.units).mde == pytest.approx(DESIGN.mde / 2, rel=2e-2)
    for mde in (0.3, 1.0):
        design = dataclasses.replace(DESIGN, mde=mde)
        found = size(design, LOG, covariate="base")
        assert size_of_effect(DESIGN, LOG, units=found.units).mde == pytest.approx(mde, rel=2e-2)


@pytest.mark.parametrize("covariate", [None, "base"])
def test_designed_power_is_reached(covariate):
    """Simulated experiments of the size found, with an effect of the size asked for, find it as often as designed."""
    design = Design("x", variants=(Variant("base", 0.6), Variant("crosses", 0.4)), mde=0.1, power=0.8)
    found = size(design, log_of(40_000, seed=1), covariate=covariate)
    units = found.units if covariate is None else found.units_cuped
    runs, hits = 400, 0
    rng = np.random.default_rng(2)
    # The treatment makes every unit's rate of clicks a tenth larger.
    pools = [np.stack(per_unit(100_000, 3, lift), axis=1).astype(float) for lift in (0.0, 0.1)]
    for _ in range(runs):
        arms = []
        for pool, share in zip(pools, design.shares, strict=True):
            m, clicks, base = pool[rng.integers(len(pool), size=round(units * share))].T
            arms.append(np.stack([clicks, m, base]))
        hits += p_value(*arms, covariate=covariate is not None) < design.alpha
    low, high = stats.binomtest(hits, runs).proportion_ci(0.999)
    assert low <= design.power <= high


def p_value(a: np.ndarray, b: np.ndarray, *, covariate: bool) -> float:
    """Return the p-value of equal ratios of two arms: rows clicks, impressions, base."""

    def parts(arm, top):
        ratio = arm[top].sum() / arm[1].sum()
        return ratio, (arm[top] - ratio * arm[1]) / arm[1].mean()

    (ra, la), (rb, lb) = parts(a, 0), parts(b, 0)
    effect = rb - ra
    if covariate:
        (xa, ca), (xb, cb) = parts(a, 2), parts(b, 2)
        theta = (la @ ca + lb @ cb) / (ca @ ca + cb @ cb)
        effect, la, lb = effect - theta * (xb - xa), la - theta * ca, lb - theta * cb
    return 2 * stats.norm.sf(abs(effect) / np.sqrt(la.var() / len(la) + lb.var() / len(lb)))


def timed(log: pd.DataFrame, days: int, seed: int) -> pd.DataFrame:
    """Return a log with moments over some days: each impression at random."""
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, days * 86_400, len(log))
    seconds[:2] = 0, days * 86_400 - 1
    return log.assign(timestamp=np.datetime64("2030-01-01") + seconds.astype("m8[s]"))


def test_days_within_the_log_are_counted_off_it():
    log = timed(LOG, 10, seed=4)
    design = dataclasses.replace(DESIGN, mde=0.15)
    found = size(design, log)
    assert found.units_per_day == log[log.timestamp < "2030-01-02"].user_id.nunique()
    assert 1 < found.days < 10
    for day in (found.days - 1, found.days):
        part = log[log.timestamp < pd.Timestamp("2030-01-01") + pd.Timedelta(days=day)].drop(
            columns="timestamp"
        )
        enough = part.user_id.nunique() >= size(design, part).units
        assert enough == (day == found.days)
    assert found.window == found.days
    assert size(design, part).units == found.units
    assert found.variance == pytest.approx(size(design, part).variance)


def test_days_beyond_the_log_follow_its_curve():
    log = timed(LOG, 10, seed=4)
    design = dataclasses.replace(DESIGN, mde=0.1)
    found = size(design, log)
    seen = [log[log.timestamp < f"2030-01-{day:02d}"].user_id.nunique() for day in (6, 11)]
    exponent = np.log(seen[1] / seen[0]) / np.log(2)
    assert exponent < 0.6  # units come back
    assert found.days == np.ceil(10 * (found.units / seen[1]) ** (1 / exponent))
    assert found.window == 10
    # Twice the traffic needs less days, half the coverage more.
    assert size(design, log, units_per_day=1.5 * found.units_per_day).days < found.days
    assert size(dataclasses.replace(design, coverage=0.8), log).days > found.days


def test_days_of_a_given_traffic():
    found = size(DESIGN, LOG, units_per_day=1_000, covariate="base")
    assert found.days == np.ceil(found.units / 1_000)
    assert found.days_cuped == np.ceil(found.units_cuped / 1_000)
    half = dataclasses.replace(DESIGN, coverage=0.5)
    assert size(half, LOG, units_per_day=1_000).days == np.ceil(found.units / 500)
    back = size_of_effect(DESIGN, LOG, days=found.days, units_per_day=1_000)
    assert back.units == 1_000 * found.days
    assert back.mde <= DESIGN.mde


def test_effect_of_days_in_a_log():
    log = timed(LOG, 10, seed=4)
    found = size_of_effect(DESIGN, log, days=3)
    seen = log[log.timestamp < "2030-01-04"].user_id.nunique()
    assert found.units in {seen, seen - 1}
    assert (found.days, found.window) == (3, 3)
    assert size_of_effect(DESIGN, log, units=found.units).days == 3


def test_a_short_last_day_is_left_out():
    log = timed(LOG, 4, seed=5)
    late = log.iloc[:5].assign(timestamp=pd.Timestamp("2030-01-05 02:00"))
    assert size(DESIGN, pd.concat([log, late])).days == size(DESIGN, log).days


def test_units_that_never_come():
    log = timed(LOG, 10, seed=4)
    everyone_at_once = log.assign(
        timestamp=log.timestamp.where(log.user_id.duplicated(), pd.Timestamp("2030-01-01"))
    )
    with pytest.warns(NidWarning, match="not reached within"):
        assert size(DESIGN, everyone_at_once).days is None


def test_one_day_of_logs_is_said():
    with pytest.warns(NidWarning, match="cover one day"):
        found = size(DESIGN, timed(LOG, 1, seed=0))
    assert found.days == np.ceil(found.units / 6_000)


def test_hardly_any_units_are_said():
    with pytest.warns(NidWarning, match="too few for the normal approximation"):
        assert size(dataclasses.replace(DESIGN, mde=50.0), LOG).units >= 4


@pytest.mark.parametrize(
    "kind", ["mapping", "polars", "arrow", "parquet", "ibis", "text ids", "text moments"]
)
def test_logs_of_every_kind(tmp_path, kind):
    log = timed(LOG, 5, seed=0)
    design = dataclasses.replace(DESIGN, mde=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NidWarning)
        expected = size(design, log)
        given = {
            "mapping": lambda: {name: log[name].to_numpy() for name in log},
            "polars": lambda: pl.from_pandas(log),
            "arrow": lambda: pa.Table.from_pandas(log),
            "parquet": lambda: (log.to_parquet(tmp_path / "log.parquet"), str(tmp_path / "log.parquet"))[1],
            "ibis": lambda: ibis.memtable(log),
            "text ids": lambda: log.assign(user_id="u" + log.user_id.astype(str)),
            "text moments": lambda: log.assign(timestamp=log.timestamp.astype(str)),
        }[kind]()
        found = size(design, given)
    for one in dataclasses.fields(found):
        assert getattr(found, one.name) == pytest.approx(getattr(expected, one.name)), one.name


def test_zones_of_moments():
    log = timed(LOG, 5, seed=0)
    zoned = log.assign(timestamp=log.timestamp.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    assert size(DESIGN, zoned) == size(DESIGN, log)
    assert size(DESIGN, log.rename(columns={"timestamp": "at"}), timestamp="at") == size(DESIGN, log)


@pytest.mark.parametrize(
    ("change", "options", "field", "said"),
    [
        (lambda x: x.assign(user_id=x.user_id.where(x.index != 3)), {}, "user_id", "missing at row 3"),
        (lambda x: x.assign(user_id=1.5), {}, "user_id", "floats"),
        (lambda x: x.assign(user_id=7), {}, "user_id", "one unit only"),
        (lambda x: x.drop(columns="user_id"), {}, "user_id", "lack a column"),
        (lambda x: x.drop(columns="click"), {}, "click", "lack a column"),
        (lambda x: x, {"covariate": "bse"}, "bse", "lack a column"),
        (lambda x: x, {"timestamp": "at"}, "at", "lack a column"),
        (lambda x: x.assign(click=0), {}, "click", "sum of 0"),
        (lambda x: x.assign(click=-1), {}, "click", "above 0"),
        (lambda x: x.assign(click=1), {}, "click", "does not vary"),
        (lambda x: x.assign(click=x.click.where(x.index != 5)), {}, "click", "row 5"),
        (lambda x: x.assign(click="no"), {}, "click", "not numeric"),
        (lambda x: x.assign(base=0.3), {"covariate": "base"}, "base", "does not vary"),
        (lambda x: x.assign(base=0.0), {"covariate": "base"}, "base", "does not vary"),
        (lambda x: x.assign(base=np.inf), {"covariate": "base"}, "base", "inf at row 0"),
        (lambda x: x.assign(base=np.nan), {"covariate": "base"}, "base", "nan at row 0"),
        (lambda x: x.assign(click=x.click * 1e300), {}, "click", "huge"),
        (lambda x: x.assign(click=x.click * 1e-300), {}, "click", "does not vary"),
        (lambda x: x.iloc[:0], {}, None, "no rows"),
        (lambda x: x.assign(timestamp=5), {}, "timestamp", "moments"),
        (lambda x: x.assign(timestamp="soon"), {}, "timestamp", "moments"),
        (lambda x: x.assign(timestamp=pd.NaT), {}, "timestamp", "missing at row 0"),
        (lambda x: 5, {}, None, "not a frame"),
        (lambda x: "/nowhere/log.parquet", {}, None, "logs"),
    ],
)
def test_bad_logs(change, options, field, said):
    with pytest.raises(FrameError, match=f"(?s){said}") as caught:
        size(DESIGN, change(LOG), **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: size("x", LOG), "design"),
        (lambda: size(DESIGN, LOG, units_per_day=0), "units_per_day"),
        (lambda: size(DESIGN, LOG, units_per_day=True), "units_per_day"),
        (lambda: size(DESIGN, LOG, units_per_day=np.nan), "units_per_day"),
        (lambda: size(DESIGN, LOG, covariate=5), "covariate"),
        (lambda: size(DESIGN, LOG, timestamp=""), "timestamp"),
        (lambda: size_of_effect(DESIGN, LOG), None),
        (lambda: size_of_effect(DESIGN, LOG, units=5, days=5), None),
        (lambda: size_of_effect(DESIGN, LOG, units=2), "units"),
        (lambda: size_of_effect(DESIGN, LOG, units=4), "units"),  # which find no change, however large
        (lambda: size_of_effect(DESIGN, LOG, units=0), "units"),
        (lambda: size_of_effect(DESIGN, LOG, units=1.5), "units"),
        (lambda: size_of_effect(DESIGN, LOG, units=10**400), "units"),
        (lambda: size_of_effect(DESIGN, LOG, days=10**400, units_per_day=5), "days"),
        (lambda: size(dataclasses.replace(DESIGN, mde=1e-300), LOG), None),
        (lambda: size_of_effect(DESIGN, LOG, days=5), "units_per_day"),
        (lambda: size_of_effect(DESIGN, LOG, days=0, units_per_day=5), "days"),
    ],
)
def test_options_out_of_their_domain(call, field):
    with pytest.raises(SettingError) as caught:
        call()
    assert caught.value.field == field


def test_the_log_is_left_as_it_was():
    log = timed(LOG, 3, seed=0)
    before = log.copy(deep=True)
    size(DESIGN, log, covariate="base")
    pd.testing.assert_frame_equal(log, before)
