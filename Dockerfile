# vergence on a CPU; the demo leaves its report in the container's /work:
#     docker build -t vergence . && docker run --name demo vergence && docker cp demo:/work/vergence-demo .
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY benchmarks/results benchmarks/results
RUN pip install --no-cache-dir --root-user-action=ignore -c constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu .

RUN useradd --create-home --uid 1000 vergence && install -d -o vergence /work
USER 1000
WORKDIR /work

ENTRYPOINT ["vergence"]
CMD ["demo"]
