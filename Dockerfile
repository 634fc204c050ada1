# A small image of the app for CPUs. It runs as a user without rights and writes only to /tmp:
#   docker build -t flowviz . && docker run --read-only --tmpfs /tmp -p 8501:8501 flowviz
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /app && /app/bin/pip install --no-cache-dir torch \
    --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE app.py ./
COPY .streamlit .streamlit
COPY flowviz flowviz
COPY pages pages
COPY checkpoints checkpoints
RUN /app/bin/pip install --no-cache-dir .

FROM python:3.12-slim
COPY --from=build /app /app
RUN useradd --create-home --uid 1000 flowviz
USER 1000
ENV PATH=/app/bin:$PATH HOME=/tmp FLOWVIZ_HOME=/tmp/flowviz PYTHONDONTWRITEBYTECODE=1 PORT=8501
WORKDIR /tmp
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/_stcore/health')"]
CMD ["sh", "-c", "exec flowviz app --headless --address 0.0.0.0 --port $PORT"]
