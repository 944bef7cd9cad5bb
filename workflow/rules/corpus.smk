"""The corpus: downloaded, its text extracted and tokenized."""

TARGETS["corpus"] = lambda study: [
    *sealed(f"{study.results}/corpus/text.txt"),
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


rule extract_text:
    input:
        book=of_study("book_file"),
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
        boilerplate=lambda wildcards: study_of(wildcards).corpus.boilerplate,
        encoding=lambda wildcards: study_of(wildcards).corpus.encoding,
        sha256=lambda wildcards: study_of(wildcards).corpus.sha256,
    script:
        "../scripts/extract_text.py"


rule tokenize_corpus:
    input:
        text="results/{study}/corpus/text.txt",
        model=of_study("model_files"),
        library=behind("tokenize_corpus"),
    output:
        "results/{study}/corpus/tokens.h5",
    log:
        "results/{study}/logs/tokenize_corpus.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_corpus.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=estimated(text_mb),
        runtime=estimated(text_minutes),
    params:
        folder=of_study("model_folder"),
        n_ctx=lambda wildcards: study_of(wildcards).corpus.n_ctx,
        rows=lambda wildcards: study_of(wildcards).corpus.rows,
        attributes=of_study("attributes"),
    script:
        "../scripts/tokenize_corpus.py"
