"""The suite's tests of what a detector finds, asked as users ask it."""

from __future__ import annotations

import numpy as np

from nid_plugins.testing.detector_fixtures import PAIRS, TRIPLE, DetectorFixtures


class Finding(DetectorFixtures):
    """Interactions that are there, and none that are not."""

    def test_planted_pairs_lead_the_ranking(self) -> None:
        """Three pairs among eight fields: a product, one that shares a field with it, and one without main effects."""
        report = self.detected("pairs")
        assert set(report.top(len(PAIRS))) == set(PAIRS), f"the ranking begins {report.top(5)}"
        left, left_linear = np.median(1 - report.r2), np.median(1 - report.r2_linear)
        assert left < 0.5 * left_linear, "the explainer with interactions is hardly better than main effects"

    def test_a_planted_triple_is_found_or_not_promised(self) -> None:
        """The product of three signs; an off field holds their mean, nearly zero, so that all three are needed."""
        found = self.detected("triple").top(1)
        if self.order > 2:
            assert found == [TRIPLE], f"the ranking begins {found}"
        else:
            assert not any(len(members) > 2 for members in found), "it finds sets of three: say order = 3"

    def test_an_additive_model_has_no_interactions(self) -> None:
        """Main effects are strong, and computed in float32: nothing of that is an interaction."""
        report = self.detected("additive")
        assert report.top(5) == []
        assert np.median(report.r2) > 0.99

    def test_a_constant_model_has_none_and_is_no_error(self) -> None:
        """There is nothing to explain: no sets, and an R^2 that is NaN."""
        report = self.detected("constant")
        assert report.top(5) == []
        assert np.isnan(report.r2).all()

    def test_the_same_seed_gives_the_same_report(self) -> None:
        """Run again, and with another executor."""
        settings = {"instances": 5, "prune": "none"}
        report = self.detected("pairs", **settings)
        assert len(report) > 0
        for executor in ("threads", "serial"):
            again = self.detected("pairs", executor=executor, **settings)
            assert again == report, f"another report with executor={executor!r}"
