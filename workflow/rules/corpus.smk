"""The corpus: downloaded, its text extracted and tokenized."""


rule download_book:
    # No modules: what a URL sends does not depend on them, and an edit must not need the network.
    output:
        "downloads/books/{book}",
    log:
        "downloads/logs/download_book/{book}.log",
    benchmark:
        "downloads/benchmarks/download_book/{book}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        network=1,
        mem_mb=each_attempt(1000),
        runtime=each_attempt(30),
    params:
        source=lambda wildcards: book_source(wildcards.book),
    script:
        "../scripts/download_book.py"


rule extract_text:
    input:
        book_file,
        library=behind("extract_text"),
    output:
        "results/{study}/corpus/text.txt",
    log:
        "results/{study}/logs/extract_text.log",
    benchmark:
        "results/{study}/benchmarks/extract_text.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=text_mb,
        runtime=text_minutes,
    params:
        boilerplate=lambda wildcards: study_of(wildcards)["corpus"]["boilerplate"],
        encoding=lambda wildcards: study_of(wildcards)["corpus"].get("encoding"),
    script:
        "../scripts/extract_text.py"


rule tokenize_corpus:
    input:
        text="results/{study}/corpus/text.txt",
        model=model_files,
        library=behind("tokenize_corpus"),
    output:
        "results/{study}/corpus/tokens.h5",
    log:
        "results/{study}/logs/tokenize_corpus.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_corpus.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=text_mb,
        runtime=text_minutes,
    params:
        folder=model_folder,
        n_ctx=lambda wildcards: study_of(wildcards)["corpus"].get("n_ctx", 0),
        attributes=attributes,
    script:
        "../scripts/tokenize_corpus.py"
