"""The plug-in of TensorFlow's SavedModels. Imports no framework until one turns up."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from nid_plugins.adapter import Adapter, Output, class_paths
from nid_plugins.errors import ArtefactError, MissingExtraError, UnsupportedError
from nid_plugins.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from nid_plugins.adapter import Predictor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import FeatureSchema

_MAP = "tensorflow.python.saved_model.signature_serialization._SignatureMap"
_FILES = ("saved_model.pb", "saved_model.pbtxt")


class SavedModelAdapter(Adapter):
    """A SavedModel as a source, without the Python code of its model.

    Claims what ``tf.saved_model.load`` returns, a signature of it, a :class:`nid_keras.saved_model.Signature`, and the
    path of a folder that holds a SavedModel, as text or as a ``pathlib`` path.
    """

    name: ClassVar[str] = "saved_model"
    classes: ClassVar[tuple[str, ...]] = (
        "tensorflow.python.saved_model.load.Loader._recreate_base_user_object.<locals>._UserObject",
        # What a SavedModel written by TensorFlow 1 loads as; also a base of much else, see claims().
        "tensorflow.python.trackable.autotrackable.AutoTrackable",
        "tensorflow.python.saved_model.load._WrapperFunction",
        "tensorflow.python.eager.wrap_function.WrappedFunction",
        "nid_keras.saved_model.Signature",
        "builtins.str",
        "pathlib.PurePath",
        "pathlib._local.PurePath",  # Python 3.13
    )
    extra: ClassVar[str | None] = "tensorflow"

    def claims(self, model: object) -> bool:
        """Return whether the object has signatures or is one, or the path leads to a SavedModel.

        Raises:
            ArtefactError: The path leads beside a SavedModel: to its file, to a folder of versions, or to one that has
                lost ``saved_model.pb``.
        """
        if isinstance(model, str | PurePath):
            return leads_to_saved_model(model)
        if hasattr(model, "signatures"):
            return _MAP in class_paths(model.signatures)
        if hasattr(model, "structured_input_signature"):
            args, _ = model.structured_input_signature
            return not args  # signatures take their inputs by name
        return class_paths(model)[0] == "nid_keras.saved_model.Signature"

    def schema(self, model: Any) -> FeatureSchema:
        """A signature has names and dtypes, but does not say how many ids a field has.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            "a SavedModel's signature does not say which inputs are ids, nor how many ids they have",
            received=_described(model),
            expected="schema=",
            hint="Write the schema by hand with the names of the signature's inputs, or use FeatureSchema.infer on the "
            "frame it was trained on",
        )

    def predictor(
        self,
        model: Any,
        schema: FeatureSchema,
        *,
        inputs: str | Callable[..., Any] = "auto",
        output: Output = "auto",
    ) -> Predictor:
        """Return a signature as a function of rows; see :class:`nid_keras.saved_model.SavedModelPredictor`.

        Raises:
            MissingExtraError: TensorFlow is not installed.
        """
        try:
            import tensorflow as tf  # noqa: F401 - to tell its absence from any other error
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise MissingExtraError(
                "a SavedModel is loaded with TensorFlow", hint="pip install 'nid-plugins[tensorflow]'"
            ) from error
        from nid_keras.saved_model import SavedModelPredictor

        return SavedModelPredictor(model, schema, inputs=inputs, output=output)

    def inject(self, model: Any, crosses: CrossFeatures, *, mode: str, **options: Any) -> Any:
        """A SavedModel is a finished graph: layers cannot be added to it.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            "crosses cannot be injected into a SavedModel",
            received=_described(model),
            expected="the Keras model it was exported from",
            hint="Inject into the Keras model (keras.models.load_model of its .keras file), then export the result",
        )


def leads_to_saved_model(path: str | PurePath) -> bool:
    """Return whether a path is the folder of a SavedModel.

    Raises:
        ArtefactError: It is something beside one; see :meth:`SavedModelAdapter.claims`.
    """
    place = Path(path)
    try:
        if _is_saved_model(place):
            return True
        if place.is_file() and place.name in _FILES:
            what, hint = "its file, not its folder", f"Pass {str(place.parent)!r}"
        elif (place / "variables" / "variables.index").is_file():
            what, hint = "variables without saved_model.pb", "Export or copy the whole folder again"
        elif place.is_dir() and (versions := _versions(place)):
            what, hint = f"a folder of versions {versions}", f"Pass one: {str(place / versions[-1])!r}"
        else:
            return False
    except (OSError, ValueError):  # text that is no path: too long, or with a null in it
        return False
    raise ArtefactError(
        "not the folder of a SavedModel",
        received=f"{place}: {what}",
        expected="a folder with saved_model.pb and variables/",
        hint=hint,
    )


def _versions(place: Path) -> list[str]:
    # What TensorFlow Serving is given: a folder of SavedModels named 1, 2, ...
    return sorted(
        (own.name for own in place.iterdir() if own.name.isdecimal() and _is_saved_model(own)), key=int
    )


def _is_saved_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _FILES)


def _described(model: object) -> str:
    return str(model) if isinstance(model, str | PurePath) else type(model).__qualname__.rsplit(".", 1)[-1]


@hookimpl
def nid_register_adapters(register: Callable[[Adapter], object]) -> None:
    """Register the adapter."""
    register(SavedModelAdapter())
