"""Fused implementations of pre- and post-processing: one pass, no full-resolution tensor, the same results.

- :mod:`.tiles` has the geometry and the two certificates, with their proofs;
- :mod:`.numba_labels` and :mod:`.numba_blob` run on the processor, without the interpreter's lock;
- :mod:`.triton_labels` and :mod:`.triton_blob` run on a GPU;
- :mod:`.torch_labels` and :mod:`.torch_blob` run anywhere.
"""
