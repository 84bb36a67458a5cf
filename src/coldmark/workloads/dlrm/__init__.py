"""Recommendation with DLRM: the probability of a click on each user-item pair of a sample; AUC."""
