"""How views are made where several modalities share it."""
