"""Fine-tune, quantize and measure ResNet-50 on indoor scenes: what int8 really buys on a CPU."""

__version__ = "0.1.0"
