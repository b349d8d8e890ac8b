"""Fine-tuning on MRPC as an experienced user of PyTorch and transformers writes it: what
benchmarks/finetune.py compares with.

    python benchmarks/torch_finetune.py ENCODER_DIR MRPC_DIR OUTPUT_DIR

ENCODER_DIR is a Hugging Face folder, MRPC_DIR holds train.tsv and dev.tsv. The last line is the result.
"""

import json
import os
import sys

import torch
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
)

BATCH_SIZE, LEARNING_RATE, EPOCHS = 32, 5e-5, 1


def read(path, tokenizer):
    """The rows of a file as the collator takes them."""
    with open(path, encoding="utf-8-sig") as file:
        next(file)
        fields = [line.rstrip("\n").split("\t") for line in file]
    texts, pairs = [item[3] for item in fields], [item[4] for item in fields]
    encoded = tokenizer(texts, pairs, truncation=True, max_length=128)
    labels = [int(item[0]) for item in fields]
    return [{**{key: encoded[key][at] for key in encoded}, "labels": labels[at]} for at in range(len(labels))]


def accuracy(model, batches):
    model.eval()
    right = rows = 0
    with torch.no_grad():
        for batch in batches:
            labels = batch.pop("labels")
            right += (model(**batch).logits.argmax(-1) == labels).sum().item()
            rows += len(labels)
    return 100 * right / rows


def train(model, batches):
    names = [(name, item) for name, item in model.named_parameters() if item.requires_grad]
    exempt = ("bias", "LayerNorm.weight")
    groups = [
        {"params": [item for name, item in names if not name.endswith(exempt)], "weight_decay": 0.01},
        {"params": [item for name, item in names if name.endswith(exempt)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    steps = len(batches) * EPOCHS
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in batches:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def main():
    encoder, data, output = sys.argv[1:]
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    collate = DataCollatorWithPadding(tokenizer)
    rows, dev = (read(os.path.join(data, f"{split}.tsv"), tokenizer) for split in ("train", "dev"))
    train(model, DataLoader(rows, BATCH_SIZE, shuffle=True, collate_fn=collate))
    result = accuracy(model, DataLoader(dev, BATCH_SIZE, collate_fn=collate))
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(json.dumps({"dev": round(result, 2)}))


if __name__ == "__main__":
    main()
