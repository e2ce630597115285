"""A photo's person told what to do with a product: motion and conditions without a clip."""
