"""The adapter of Keras 3 on TensorFlow and of tf_keras. Importing this imports no framework.

``import nid_keras.keras3`` or ``import nid_keras.tf_keras2`` gives the layers, and registers them with that Keras, which
is what loading a saved model with crosses needs.
"""
