"""The other building blocks of a chain: weight decay, scale, noise, centralizing."""
