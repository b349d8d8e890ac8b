"""A text corpus to the rows of general distillation (GD): files -> documents -> blocks -> tokens -> packed
rows, a file of this folder each, in that order; then the record files.

Everything streams. The calling process reads documents and groups them into blocks of a few MiB; a
`WorkerPool` of `Packer`s turns each block into rows and hands them back in order. A block's rows depend on
its text, its number and the `Recipe` alone, so neither the number of processes nor an interruption changes a
byte. `ShardFolder` keeps what is finished.
"""
