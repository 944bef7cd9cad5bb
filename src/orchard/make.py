"""Make the whole orchard again from its seeds: book, tokenizer, model, held-out prompts; then measure them."""

from orchard import make_book, measure, train

if __name__ == "__main__":
    make_book.BOOK.write_text(make_book.book(), encoding="utf-8", newline="\n")
    train.train(train.Recipe())
    measure.write_prompts()
    for name, value in measure.report().items():
        print(f"{name}: {value}")
