"""PyTorch's side of every comparison: BERT of transformers with what distillation compares, the losses, the
quantizers of TernaryBERT, and the optimizer, as an experienced user of PyTorch writes them.

Each form here is the fastest of those tried: PyTorch's own attention where no scores are asked for, the exact
GELU, the fused AdamW. `python benchmarks/torch_side.py --make 12x768 FOLDER SEED` writes a network of
random weights.
"""

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.rows import first_projection  # noqa: E402

CLIP, EPSILON = 2.5, 1e-8


# --- quantizers, as src/quant/quantizers.py defines them ----------------------------------------------------


class Ternary(torch.autograd.Function):
    """TWN: alpha x {-1, 0, 1}; one alpha for the tensor or for each row; clipped at 2.5, where no gradient
    passes.
    """

    @staticmethod
    def forward(ctx, x, by_row):
        size = x.abs()
        ctx.save_for_backward(size < CLIP)
        size.clamp_(max=CLIP)
        over = (-1,) if by_row else tuple(range(x.dim()))
        kept = (size > 0.7 * size.mean(over, keepdim=True)).to(x.dtype)
        count = kept.sum(over, keepdim=True).clamp(min=1)
        alpha = size.mul_(kept).sum(over, keepdim=True) / count
        return torch.copysign(kept.mul_(alpha), x)

    @staticmethod
    def backward(ctx, gradient):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


class Symmetric(torch.autograd.Function):
    """8 bits with the outermost value at the tensor's largest, clipped at 2.5, where no gradient passes."""

    @staticmethod
    def forward(ctx, x, clip):
        low, high = torch.aminmax(x)
        largest = torch.maximum(-low, high)
        if clip:
            largest = largest.clamp(max=CLIP)
            ctx.save_for_backward(x.abs() < CLIP)
        ctx.clip = clip
        step = largest.clamp(min=EPSILON) / 127.0
        codes = x / step
        return (codes.clamp_(-127.0, 127.0) if clip else codes).round_().mul_(step)

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * ctx.saved_tensors[0] if ctx.clip else gradient), None


class SymmetricRows(torch.autograd.Function):
    """8 bits with one scale a row, without a clip: position and token-type tables and the classifier."""

    @staticmethod
    def forward(ctx, x):
        step = x.abs().amax(-1, keepdim=True).clamp(min=EPSILON) / 127.0
        return (x / step).round_().mul_(step)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Float:
    """Nothing is quantized."""

    quantizes = False

    def _same(self, x):
        return x

    weight = rows = rest = activation = probs = _same


class W2A8(Float):
    """2-bit weights and word embeddings, 8-bit activations, the rest 8 bits: ternary_config.yaml."""

    quantizes = True

    def weight(self, x):
        return Ternary.apply(x, False)

    def rows(self, x):
        return Ternary.apply(x, True)

    def rest(self, x):
        return SymmetricRows.apply(x)

    def activation(self, x):
        return Symmetric.apply(x, True)

    def probs(self, x):
        return Symmetric.apply(x, False)


# --- the network --------------------------------------------------------------------------------------------


def load(folder, layers=None, dropout=None):
    """transformers' BertForSequenceClassification, of its encoder layers only `layers` where given."""
    from transformers import BertForSequenceClassification

    rates = (
        {}
        if dropout is None
        else dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    )
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32, **rates)
    if layers is not None:
        model.bert.encoder.layer = nn.ModuleList([model.bert.encoder.layer[index] for index in layers])
        model.config.num_hidden_layers = len(layers)
    return model


def make(shape, folder, seed):
    """Write a network of random weights; `shape` is LAYERSxWIDTH."""
    from transformers import BertConfig, BertForSequenceClassification

    layers, width = (int(number) for number in shape.split("x"))
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    torch.manual_seed(seed)
    BertForSequenceClassification(BertConfig(num_attention_heads=12, **sizes)).save_pretrained(folder)


class Network:
    """A model's forward pass with its hidden states and attention scores, quantized or not.

    Args:
        model: from `load`.
        quantizer (Float): what is done to weights and activations.
        scores_of (collection of int): the layers whose attention scores are wanted.
        head (bool): whether logits are.
    """

    def __init__(self, model, quantizer, scores_of=(), head=True):
        self.model, self.q, self.scores_of, self.head = model, quantizer, set(scores_of), head

    def dense(self, layer, x):
        """A linear layer on an already quantized x."""
        return F.linear(x, self.q.weight(layer.weight), layer.bias)

    def embed(self, ids, segments):
        tables, q = self.model.bert.embeddings, self.q
        words = q.rows(F.embedding(ids, tables.word_embeddings.weight, padding_idx=0))
        kinds = F.embedding(segments, q.rest(tables.token_type_embeddings.weight))
        places = q.rest(tables.position_embeddings.weight[: ids.shape[1]])
        return tables.dropout(tables.LayerNorm(words + kinds + places))

    def attend(self, layer, x, mask, wanted):
        """(attention's output, its scores before softmax or None)."""
        own, q, (batch, length, width) = layer.attention.self, self.q, x.shape
        quantized = q.activation(x)
        query, key, value = (
            q.activation(self.dense(part, quantized))
            .view(batch, length, own.num_attention_heads, -1)
            .transpose(1, 2)
            for part in (own.query, own.key, own.value)
        )
        rate, scores = own.dropout.p if self.model.training else 0.0, None
        if wanted or q.quantizes:
            scores = torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5 + mask
            context = torch.matmul(q.probs(F.dropout(torch.softmax(scores, -1), rate, rate > 0)), value)
        else:
            context = F.scaled_dot_product_attention(query, key, value, mask, rate)
        context = q.activation(context.transpose(1, 2).reshape(batch, length, width))
        output = layer.attention.output
        return output.LayerNorm(output.dropout(self.dense(output.dense, context)) + x), scores

    def feed_forward(self, layer, x):
        inner = F.gelu(self.dense(layer.intermediate.dense, self.q.activation(x)))
        output = layer.output
        return output.LayerNorm(output.dropout(self.dense(output.dense, self.q.activation(inner))) + x)

    def __call__(self, ids, mask, segments):
        """logits or None, hidden states of every layer, {layer: scores}."""
        added = (1.0 - mask[:, None, None, :].float()) * -10000.0
        state = self.embed(ids, segments)
        states, scores = [state], {}
        for index, layer in enumerate(self.model.bert.encoder.layer):
            state, score = self.attend(layer, state, added, index in self.scores_of)
            if index in self.scores_of:
                scores[index] = score
            state = self.feed_forward(layer, state)
            states.append(state)
        return self.logits(state) if self.head else None, states, scores

    def logits(self, state):
        pooled = torch.tanh(self.dense(self.model.bert.pooler.dense, self.q.activation(state[:, 0])))
        last = self.model.classifier
        return F.linear(self.model.dropout(pooled), self.q.rest(last.weight), last.bias)


# --- distillation -------------------------------------------------------------------------------------------


class Distillation:
    """Teacher, student and projection, and the loss of a batch.

    Args:
        teacher, student: from `load`. terms (tuple of str): of "layers" (attention scores and hidden states)
            and "logits". quantized (bool): the student is W2A8. projection (bool): on its hidden states.
        regression (bool): one score a row instead of classes.
    """

    def __init__(self, teacher, student, terms, quantized=False, projection=False, regression=False):
        depth, teacher_depth = (len(model.bert.encoder.layer) for model in (student, teacher))
        self.stride = teacher_depth // depth
        layers, logits = "layers" in terms, "logits" in terms
        mapped = range(self.stride - 1, teacher_depth, self.stride) if layers else ()
        self.terms, self.regression = terms, regression
        self.teacher = Network(teacher.eval(), Float(), mapped, logits)
        own = range(depth) if layers else ()
        self.student = Network(student.train(), W2A8() if quantized else Float(), own, logits)
        self.projection = None
        widths = student.config.hidden_size, teacher.config.hidden_size
        if projection and layers:
            self.projection = nn.Linear(*widths)
            nn.init.zeros_(self.projection.bias)
            self.projection.weight.data = torch.from_numpy(first_projection(*widths))

    def parameters(self):
        """[(name, parameter)] of what learns: without a loss on logits, pooler and classifier do not."""
        idle = () if "logits" in self.terms else ("bert.pooler", "classifier")
        own = [item for item in self.student.model.named_parameters() if not item[0].startswith(idle)]
        return own + (list(self.projection.named_parameters()) if self.projection is not None else [])

    def loss(self, ids, mask, segments, labels):
        with torch.no_grad():
            logits_t, states_t, scores_t = self.teacher(ids, mask, segments)
        logits, states, scores = self.student(ids, mask, segments)
        loss = 0.0
        if "layers" in self.terms:
            tokens = mask.float()[:, :, None]
            pairs = (tokens * tokens.transpose(1, 2))[:, None]  # padding counts nowhere
            for index, score in scores.items():
                difference = (score - scores_t[(index + 1) * self.stride - 1]) * pairs
                loss = loss + difference.square().sum() / (pairs.sum() * score.shape[1])
            for state, target in zip(states, states_t[:: self.stride]):
                projected = state if self.projection is None else self.projection(state)
                difference = (projected - target) * tokens
                loss = loss + difference.square().sum() / (tokens.sum() * target.shape[-1])
        if "logits" in self.terms and self.regression:
            loss = loss + F.mse_loss(logits, logits_t)
        elif "logits" in self.terms:
            loss = loss - (torch.softmax(logits_t, -1) * torch.log_softmax(logits, -1)).mean()
        return loss


def adamw(named, learning_rate):
    """AdamW with BERT's groups: no decay on biases and LayerNorm."""
    plain = [item for name, item in named if "LayerNorm" in name or name.endswith("bias")]
    decayed = [item for name, item in named if not ("LayerNorm" in name or name.endswith("bias"))]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, eps=1e-6, fused=True)


def train_step(loss, parameters, optimizer):
    """Backward, clip, update."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def tensors(batch):
    """A padded batch of `Rows` as tensors; labels of a regression stay float."""
    ids, mask, segments, labels = (torch.from_numpy(column) for column in batch)
    return ids.long(), mask, segments.long(), labels


def use_all_cores():
    torch.set_num_threads(os.cpu_count())


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] != "--make":
        sys.exit("usage: torch_side.py --make LAYERSxWIDTH FOLDER SEED")
    make(sys.argv[2], sys.argv[3], int(sys.argv[4]))
