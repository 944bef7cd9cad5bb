"""The corpus: fetched, read part by part, tokenized, and cut into rows. A book's text is extracted first."""

TARGETS["corpus"] = lambda study: [
    *sealed(
        f"{study.results}/corpus/{'text.txt' if study.corpus.is_book else 'files.json'}"
    ),
    *token_parts(study),
    f"{study.results}/corpus/tokens.h5",
]


# No modules among its inputs: what a URL sends does not depend on them, and an edit must not need the network.
rule download_book:
    output:
        "downloads/books/{book}",
    log:
        "downloads/logs/download_book/{book}.log",
    benchmark:
        "downloads/benchmarks/download_book/{book}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        network=1,
    params:
        source=book_source,
    script:
        "../scripts/download_book.py"


# As above.
rule fetch_dataset:
    output:
        sealed("downloads/datasets/{dataset}/dataset.json"),
    log:
        "downloads/logs/fetch_dataset/{dataset}.log",
    benchmark:
        "downloads/benchmarks/fetch_dataset/{dataset}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        network=1,
    params:
        source=fetched_dataset,
    script:
        "../scripts/fetch_dataset.py"


rule extract_text:
    input:
        book=of_study("corpus.book_file"),
        library=behind("extract_text"),
    output:
        **dict(zip(("text", "seal"), sealed("results/{study}/corpus/text.txt"))),
    log:
        "results/{study}/logs/extract_text.log",
    benchmark:
        "results/{study}/benchmarks/extract_text.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=estimated(text_mb),
        runtime=estimated(text_minutes),
    params:
        boilerplate=of_study("corpus.boilerplate"),
        encoding=of_study("corpus.encoding"),
        sha256=of_study("corpus.sha256"),
    script:
        "../scripts/extract_text.py"


rule list_files:
    input:
        unpack(files_of_corpus),
        library=behind("list_files"),
    output:
        sealed("results/{study}/corpus/files.json"),
    log:
        "results/{study}/logs/list_files.log",
    benchmark:
        "results/{study}/benchmarks/list_files.tsv"
    conda:
        ENVIRONMENT
    resources:
        runtime=estimated(text_minutes),
    params:
        n_parts=lambda wildcards: n_parts(study_of(wildcards)),
    script:
        "../scripts/list_files.py"


rule tokenize_corpus:
    input:
        unpack(text_of_part),
        model=of_study("model_files"),
        library=behind("tokenize_corpus"),
    output:
        "results/{study}/corpus/parts/{part}.h5",
    log:
        "results/{study}/logs/tokenize_corpus/{part}.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_corpus/{part}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=estimated(text_mb),
        runtime=estimated(text_minutes),
    params:
        folder=of_study("model_folder"),
        read=of_study("corpus.documents"),
        attributes=of_study("attributes"),
    script:
        "../scripts/tokenize_corpus.py"


rule gather_tokens:
    input:
        parts=lambda wildcards: token_parts(study_of(wildcards)),
        model=of_study("model_files"),
        library=behind("gather_tokens"),
    output:
        "results/{study}/corpus/tokens.h5",
    log:
        "results/{study}/logs/gather_tokens.log",
    benchmark:
        "results/{study}/benchmarks/gather_tokens.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folder=of_study("model_folder"),
        n_ctx=of_study("corpus.n_ctx"),
        rows=of_study("corpus.rows"),
        attributes=of_study("attributes"),
    script:
        "../scripts/gather_tokens.py"
