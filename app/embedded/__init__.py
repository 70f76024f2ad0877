"""PostgreSQL and Redis started from wheels, for one machine.

`start_services(settings)` returns addresses, whether it had to start anything or not, so that
everything after it runs the same code on a laptop and on servers.
"""
