"""The assignment's page in public.

a visitor's file ── uploads ──> decoding (a process with a deadline) ──> an upright RGB picture
   └── preprocess ──> compare.Models ──> page: two languages, examples ──> the visitor
serve keeps it up; spaces exports it; screenshots takes pictures of it
"""
