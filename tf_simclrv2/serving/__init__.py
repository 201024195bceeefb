"""An HTTP server for exported modules that answers as TensorFlow Serving's REST API does."""
