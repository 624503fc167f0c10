"""Where an int8 network loses what float32 knew: layer by layer, with the cause and the remedy."""
