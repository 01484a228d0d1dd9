# The exported pipeline over HTTP: `spacy project run onnx` first, then `docker build -t gmb-ner .`
FROM python:3.12-slim
# The name that `spacy project run onnx` told; another with --build-arg MODEL=...
ARG MODEL=en_ner_gmb_sm_onnx
ENV MODEL=$MODEL
WORKDIR /app
COPY packages/onnx/*.whl /wheels/
# The wheels of this project from here, what they need from the index, in the versions that they ask for.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --find-links /wheels "$MODEL" "gmb-ner[onnx,serve]" \
    && useradd --system --no-create-home --uid 10001 app
# By number, so that Kubernetes sees that it is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz')"]
# The shell puts the name in and gives way to the service, which so gets SIGTERM itself.
CMD ["sh", "-c", "exec gmb_ner serve --model \"$MODEL\" --host 0.0.0.0"]
