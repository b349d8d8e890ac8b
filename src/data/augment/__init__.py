"""More training rows by replacing words, as TinyBERT does before task distillation (Jiao et al., arXiv
1909.10351, section 4 and algorithm 1).

A word of one WordPiece is masked and a language model gives its candidates (`candidates.py`); a word of
several takes the nearest words by their vectors (`vectors.py`). The language model is a callable, so that
nothing here knows a network.
"""
