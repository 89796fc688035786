"""The core of every CrossInjector: when to look, what to inject, and what a checkpoint must hold. No framework."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from nid_plugins.adapting import TowerOptions, check_names, flag, fraction, positive
from nid_plugins.callbacks.choosing import Choice, Chooser
from nid_plugins.callbacks.packing import packed_crosses, unpacked_crosses
from nid_plugins.errors import ArtefactError, NidWarning, SettingError
from nid_plugins.plugins import get_manager
from nid_plugins.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Output
    from nid_plugins.blackbox import BlackBox
    from nid_plugins.callbacks.choosing import Fitting
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

Status = Literal["waiting", "chosen", "injected", "nothing", "failed"]

FORMAT = "nid-plugins injector"
STATE_VERSION = 1

L2_OF_MEAN = 2.5e-5
L2_OF_SUM = 1e-2
"""Weight of the squared norm of cross embeddings. What suits embeddings of single fields keeps crosses from learning
anything: their combinations are seen far less often."""


class CrossInjector:
    """Lets a model train for some epochs, asks it for its interactions, and has the best crosses put into it.

    What a framework's CrossInjector holds as ``core``. Once training runs nothing here raises: whatever fails is a
    single :class:`~nid_plugins.errors.NidWarning`, and training goes on without crosses.

    Args:
        schema: The model's fields; may be left out where the framework declares them.
        train: Training frame: the crosses' vocabularies are fitted on it.
        label: Its 0/1 labels, shape (n,), or the name of its column. Used where there are few held-out rows.
        valid: Frame of held-out rows: crosses are picked by what they add there, and instances drawn from it.
        valid_label: Its labels, or the name of its column. None: the column ``label`` names.
        after: Epochs the base is trained before.
        max_crosses: Most crosses to inject; fewer when fewer help.
        bins: Quantile bins of a dense member.
        min_count: A combination is kept when it occurs more often in ``train``; None as in ``nid.fit_crosses``.
        candidates: Detected sets that are tried.
        pairs: Pairs of fields that are tried besides, and then the triples that picked pairs make together: a model in
            its first epochs does not show all yet that it could use. 0 for the detected sets alone.
        detect: Options of ``nid.detect`` other than the defaults here.
        screen: Options of ``nid.screen``.
        wrap: Options of ``nid.wrap``, e.g. ``{"output": "logit"}``.
        tower: Options of the tower but for ``l2`` and ``embeddings``, e.g. ``{"dim": 4}``; see
            :class:`~nid_plugins.adapting.TowerOptions`.
        rate: Learning rate of the crosses over that of the optimiser's first group.
        l2: Weight of the squared norm of the cross embeddings in the loss. None: :data:`L2_OF_MEAN` or
            :data:`L2_OF_SUM`, as the framework's loss is the mean or the sum over a batch.
        frozen: Whether all but the crosses is kept as it is from then on.
        seed: Of detection, folds and the tower.

    Attributes:
        status: ``"waiting"``, ``"chosen"`` (about to be put in), ``"injected"``, ``"nothing"`` (no cross was worth it)
            or ``"failed"``.
        epoch: Epoch, from 0, at whose end this was decided; None before.
        crosses: What was chosen, else None.
        output: What the model returns, once it has been asked.
        choice: How: the report of the detection, the screening; None before, and after a resume.

    Raises:
        SettingError: An option is out of its domain.
        FrameError: Labels do not fit their frame.
    """

    def __init__(
        self,
        schema: FeatureSchema | None = None,
        train: Any = None,
        label: Any = None,
        valid: Any = None,
        valid_label: Any = None,
        *,
        after: int = 2,
        max_crosses: int = 10,
        bins: int = 100,
        min_count: float | None = None,
        candidates: int = 40,
        pairs: int = 150,
        detect: Mapping[str, Any] | None = None,
        screen: Mapping[str, Any] | None = None,
        wrap: Mapping[str, Any] | None = None,
        tower: Mapping[str, Any] | None = None,
        rate: float = 2.0,
        l2: float | None = None,
        frozen: bool = False,
        seed: int = 0,
    ) -> None:
        self.chooser = Chooser(
            schema,
            train,
            label,
            valid,
            valid_label,
            max_crosses=max_crosses,
            bins=bins,
            min_count=min_count,
            candidates=candidates,
            pairs=pairs,
            detect=detect,
            screen=screen,
            wrap=wrap,
            seed=seed,
        )
        self.wrap = self.chooser.wrap
        self.after = positive("after", after)
        self.tower = _tower(tower)
        self.rate = fraction("rate", rate, below=float("inf"))
        self.l2 = None if l2 is None else fraction("l2", l2, below=float("inf"))
        self.frozen = flag("frozen", frozen)
        self.seed = self.chooser.seed
        self.status: Status = "waiting"
        self.epoch: int | None = None
        self.crosses: CrossFeatures | None = None
        self.output: Output = self.wrap.get("output", "auto")
        self.choice: Choice | None = None

    def due(self, epoch: int) -> bool:
        """Return whether to choose at the end of this epoch, counted from 0."""
        return self.status == "waiting" and epoch + 1 >= self.after

    def choose(
        self,
        model: Any,
        box: BlackBox | None = None,
        *,
        epoch: int | None = None,
        fitting: Fitting | None = None,
        most: int | None = None,
    ) -> CrossFeatures | None:
        """Ask the model for its interactions and return the crosses to put into it; None, having said so, if none.

        Never raises but for an interruption. The model is left as it is.

        Args:
            model: The model in training.
            box: The model wrapped, where the shell has it.
            epoch: The epoch at whose end this is, for the record.
            fitting: Called with the candidates, before they are screened, and the training frame; returns them as they
                can be injected, or None when none can.
            most: At most so many crosses, where ``max_crosses`` is not less.
        """
        self.epoch = epoch
        try:
            self.choice = self.chooser(model, box, fitting=fitting, most=most)
        except Exception as error:  # noqa: BLE001 - training goes on, whatever happens here
            self._give_up("failed", f"no crosses were injected: {one_line(error)}")
            return None
        self.crosses, self.output = self.choice.crosses, self.choice.output
        if self.crosses is None:
            self._give_up("nothing", f"no crosses were injected: {self.choice.reason}")
            return None
        self.status = "chosen"
        return self.crosses

    def put(self, model: Any, crosses: CrossFeatures, how: Callable[[CrossFeatures], object]) -> bool:
        """Have chosen crosses put into the model; return whether that worked.

        Never raises but for an interruption. Plug-ins are told before and after.

        Args:
            model: The model in training.
            crosses: What :meth:`choose` returned, here or in another process.
            how: Does it, in place and as a whole: when it raises, it has changed nothing.
        """
        manager = get_manager()
        manager.notify("nid_before_inject", model=model, crosses=crosses)
        try:
            how(crosses)
        except Exception as error:  # noqa: BLE001 - training goes on, whatever happens here
            self.crosses = None
            self._give_up("failed", f"the crosses could not be injected: {one_line(error)}")
            return False
        self.crosses, self.status = crosses, "injected"
        manager.notify("nid_after_inject", model=model, target=model, crosses=crosses)
        return True

    def apply(
        self,
        model: Any,
        how: Callable[[CrossFeatures], object],
        box: BlackBox | None = None,
        **choosing: Any,
    ) -> bool:
        """Do :meth:`choose`, with its further arguments, and :meth:`put`; return whether crosses were injected."""
        crosses = self.choose(model, box, **choosing)
        return crosses is not None and self.put(model, crosses, how)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, ready for JSON: the status and the crosses themselves, not a path."""
        return {
            "format": FORMAT,
            "version": STATE_VERSION,
            "status": self.status,
            "epoch": self.epoch,
            "output": self.output,
            "crosses": None if self.crosses is None else packed_crosses(self.crosses),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Putting the crosses into a fresh model is the shell's part.

        Raises:
            ArtefactError: It is something else, damaged, or of a newer version.
        """
        if not hasattr(state, "get") or state.get("format") != FORMAT:
            raise ArtefactError(
                "not the state of a CrossInjector",
                received=type(state).__name__,
                expected="what state_dict returned",
            )
        if state.get("version") != STATE_VERSION:
            raise ArtefactError(
                "the state of the CrossInjector is of another version",
                received=state.get("version"),
                expected=STATE_VERSION,
                hint="Resume with the version of nid-plugins that wrote it",
            )
        status, packed = state.get("status"), state.get("crosses")
        if status not in ("waiting", "chosen", "injected", "nothing", "failed") or (
            (packed is not None) != (status in ("chosen", "injected"))
        ):
            raise ArtefactError(
                "the state of the CrossInjector is damaged",
                received=f"status {status!r} {'with' if packed is not None else 'without'} crosses",
            )
        self.crosses = None if packed is None else unpacked_crosses(packed)
        self.status, self.epoch, self.choice = status, state.get("epoch"), None
        self.output = state.get("output", self.output)

    def _give_up(self, status: Status, sentence: str) -> None:
        self.status = status
        warnings.warn(f"{sentence}; training goes on without", NidWarning, stacklevel=4)


def _tower(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise SettingError("tower is no dict of options", received=repr(options))
    given = dict(options or {})
    allowed = [name for name in TowerOptions.names() if name not in {"embeddings", "l2"}]
    check_names(given, allowed, "unknown option in tower")
    TowerOptions.of(None, **given)
    return given
