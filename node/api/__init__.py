"""The APIs that other programs speak already: OpenAI's, GPT-SoVITS's and SillyTavern's. See specs/api.md.

To see how a request gets in, go to gate.py; how the port is opened and closed, to door.py; which paths there
are, to app.py; what they mean, to openai.py and gpt_sovits.py; how sound leaves, to answer.py and encode.py.
"""
