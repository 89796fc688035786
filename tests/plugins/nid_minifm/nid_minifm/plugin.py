"""What the entry point names. Imports neither minifm nor anything that does."""

from __future__ import annotations

from nid_plugins import Adapter, hookimpl


class MinifmAdapter(Adapter):
    """Models of minifm."""

    name = "minifm"
    classes = ("minifm.Model",)

    def schema(self, model):
        """Return the fields the model names."""
        from nid_minifm.model import schema_of

        return schema_of(model)

    def predictor(self, model, schema, *, inputs="auto", output="auto"):
        """Return the model as a function of rows."""
        from nid_minifm.model import MinifmPredictor

        return MinifmPredictor(model, schema, inputs, output)

    def inject(self, model, crosses, *, mode, **options):
        """Return a copy of the model with crosses."""
        from nid_minifm.inject import inject

        return inject(model, crosses, mode, options)

    def cross_embeddings(self, model):
        """Return the embeddings of the crosses injected into a model."""
        from nid_minifm.inject import embeddings_of

        return embeddings_of(model) or super().cross_embeddings(model)


@hookimpl
def nid_register_adapters(register):
    """Register the adapter."""
    register(MinifmAdapter())
