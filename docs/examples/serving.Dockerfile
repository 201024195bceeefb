# TensorFlow Serving with an exported bundle inside, which can be started anywhere, without other files.
#
#     python -m export --model_dir=RUN --format=serving --output=bundle --name=digits
#     docker build -f docs/examples/serving.Dockerfile -t digits bundle
#     docker run -p 8501:8501 digits
#
# The project's tests do not build it. --build-arg=VERSION=… takes another version of the server.
ARG VERSION=latest
FROM tensorflow/serving:${VERSION}
COPY . /models
# REST, and gRPC.
EXPOSE 8501 8500
CMD ["--model_config_file=/models/models.config"]
