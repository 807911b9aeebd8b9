"""ICNet on x86: on the tile unit (AMX) in bfloat16 and, by splitting numbers, float32; on vector units in float32."""
