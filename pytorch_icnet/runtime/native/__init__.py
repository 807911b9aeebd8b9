"""Convolutions on the processor's tile unit (AMX), in bfloat16 and, by splitting numbers, in float32."""
