"""Audits: is recorded data what it says, and what is it worth to a learner?"""
