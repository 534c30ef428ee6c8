"""Postbacks: reports to partners, their rendering for each network, signing and delivery."""
