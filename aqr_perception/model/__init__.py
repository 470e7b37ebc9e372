"""The network: CMT (Cross Modal Transformer) with adaptive query routing, in plain PyTorch."""
