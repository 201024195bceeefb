"""Networks as SavedModels: signatures, model card, archive, and a Keras layer that calls one."""
