"""The conformance suite on models of minifm."""

from __future__ import annotations

import minifm
import numpy as np
from nid_minifm.tower import CrossTower

import nid_plugins as nid
from nid_plugins.adapting import TowerOptions
from nid_plugins.testing import AdapterConformance, IdInput, click_log


class TestMinifm(AdapterConformance):
    adapter = "minifm"
    plugin = "nid_minifm.plugin"
    frameworks = ("minifm",)
    declares_schema = True
    id_inputs = (IdInput("int64", "int64", "float32"), IdInput("float64", "float64", "float64"))
    not_carried = {}  # noqa: RUF012 - float64 columns carry everything

    def model(self, schema, seed):
        sizes = {field.name: field.cardinality for field in schema.sparse}
        layers = [minifm.Table(name, size) for name, size in sizes.items()]
        layers += [minifm.Line(field.name) for field in schema.dense]
        layers += [minifm.Product(["site", sizes["site"]], ["hour", sizes["hour"]], seed=seed)]
        return minifm.Model({name: sizes.get(name) for name in schema.names}, layers)

    def predict(self, model, frame):
        before = model.training
        out = model.predict(frame)
        model.training = before
        return out

    def train(self, model, frame, label):
        model.step(frame, label)

    def state(self, model):
        return {
            "training": model.training,
            "squares": {str(key): own for key, own in model.squares.items()},
            "weights": [layer.weights for layer in model.layers],
        }

    def random_state(self):
        return minifm.rng.bit_generator.state

    def save(self, model, directory):
        model.save(directory)

    def load(self, directory):
        return minifm.load(directory)

    def two_scores(self, schema):
        class Two(minifm.Model):
            def logit(self, columns):
                return np.stack([super().logit(columns)] * 2, axis=1)

        plain = self.model(schema, 1)
        return Two(plain.fields, plain.layers)

    def cross_ids(self, crosses, columns, way):
        return CrossTower(crosses, TowerOptions.of(crosses)).ids(columns)

    def strangers(self):
        return [minifm.Table("site", 6), minifm]


def test_crosses_teach_a_model_what_it_could_not_learn(minifm_adapter):
    log = click_log()
    model = TestMinifm().model(log.schema, seed=1)
    for _ in range(60):
        model.step(log.frame, log.label)
    target = nid.inject(model, log.crosses)
    for _ in range(60):
        model.step(log.frame, log.label)
        target.step(log.frame, log.label)

    def loss(some):
        p = some.predict(log.frame)
        return -np.mean(log.label * np.log(p) + (1 - log.label) * np.log(1 - p))

    assert loss(target) < 0.8 * loss(model)
