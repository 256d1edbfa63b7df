"""Pictures from the web and from local files: fetched politely and safely, checked, made small, stored by their hash.

Owns: settings (plan.py: FetchPlan), what becomes of a picture (outcome.py: Job, Outcome, Counts, STATUSES, TRANSIENT),
which addresses may be asked (addresses.py, resolving.py), robots.txt and other ways to opt out (robots.py, opt_out.py),
reading an answer within limits (body.py), taking a picture in (pictures.py: take_in, BadPicture), the store (store.py:
Store), whose turn it is (schedule.py), and the whole (fetch.py: fetch). Needs aiohttp and protego (extra `corpus`).
"""
