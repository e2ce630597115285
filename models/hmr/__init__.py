"""Human mesh recovery: HaMeR's hands and Multi-HMR's bodies from a picture."""
