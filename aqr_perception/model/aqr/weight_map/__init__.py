"""The experiment report's AQR, made trainable: weights of queries → maps → features."""
