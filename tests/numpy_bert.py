"""BERT's forward pass in NumPy, written from the papers: the independent reference of the tests.

Takes weights under this project's parameter names and computes in float64 throughout.
"""

import math

import numpy as np

_erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class NumpyBert:
    """One set of weights and a `BertConfig`."""

    def __init__(self, weights, config):
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.config = config

    def dense(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def layer_norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.config.layer_norm_eps)
        return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def attention(self, x, mask, name):
        """One row (S, H) at a time, one head at a time: slow, and nothing to get wrong."""
        config, length = self.config, len(x)
        width = config.hidden_size // config.num_attention_heads
        query, key, value = (self.dense(x, f"{name}.{part}") for part in ("query", "key", "value"))
        scores = np.empty((config.num_attention_heads, length, length))
        context = np.empty_like(x)
        for head in range(config.num_attention_heads):
            part = slice(head * width, (head + 1) * width)
            q, k, v = query[:, part], key[:, part], value[:, part]
            scores[head] = q @ k.T / math.sqrt(width)
            if config.use_relative_positions:  # Shaw et al., equations 3 and 4
                limit, table = config.max_relative_position, self.weights[f"{name}.relative_positions.weight"]
                for i in range(length):
                    for j in range(length):
                        scores[head, i, j] += (
                            q[i] @ table[np.clip(j - i, -limit, limit) + limit] / math.sqrt(width)
                        )
            scores[head] += (1.0 - mask) * -10000.0
            probs = softmax(scores[head])
            context[:, part] = probs @ v
            if config.use_relative_positions:
                for i in range(length):
                    for j in range(length):
                        context[i, part] += probs[i, j] * table[np.clip(j - i, -limit, limit) + limit]
        return self.layer_norm(self.dense(context, f"{name}.output") + x, f"{name}.layer_norm"), scores

    def row(self, ids, mask, segments):
        """(logits (C,) or (S, C), [hidden states (S, H)], [scores (heads, S, S)]) of one row."""
        table = "bert.embeddings.{}_embeddings.weight"
        x = self.weights[table.format("word")][ids] + self.weights[table.format("token_type")][segments]
        if not self.config.use_relative_positions:
            x = x + self.weights[table.format("position")][: len(ids)]
        x = self.layer_norm(x, "bert.embeddings.layer_norm")
        states, all_scores = [x], []
        for index in range(self.config.num_hidden_layers):
            layer = f"bert.encoder.layers.{index}."
            x, scores = self.attention(x, mask, layer + "attention")
            inner = ACTIVATIONS[self.config.hidden_act](self.dense(x, layer + "feed_forward.intermediate"))
            x = self.layer_norm(
                self.dense(inner, layer + "feed_forward.output") + x, layer + "feed_forward.layer_norm"
            )
            states.append(x)
            all_scores.append(scores)
        read = x
        if "bert.pooler.dense.weight" in self.weights:  # else an answer for every token
            read = np.tanh(self.dense(x[0], "bert.pooler.dense"))
        if self.config.classifier_relu:
            read = np.maximum(read, 0)
        return self.dense(read, "classifier"), states, all_scores

    def __call__(self, ids, mask, segments):
        """(logits (B, C) or (B, S, C), [hidden states (B, S, H)], [scores (B, heads, S, S)]) of a batch."""
        rows = [self.row(*row) for row in zip(ids, mask, segments)]
        return (
            np.stack([row[0] for row in rows]),
            [np.stack(layer) for layer in zip(*(row[1] for row in rows))],
            [np.stack(layer) for layer in zip(*(row[2] for row in rows))],
        )
