"""What a job document means: from its text to a job that runs.

compile      a document in, a runnable job out, with all faults at once
course       the way of a batch through the actions of that job, leg by leg
action       what an action is
templates    placeholders: `{{name}}`, `@{job}`, `${field}`; conditions: Lua over the fields of an event
schedule     when a job fires: timers (interval, cron), cron in its zone, cron_slips: what was meant by a wrong one,
             firings: which lie in a stretch of time (worker/timetable: of one instance); window: the time that a firing
             is about
emit         messages beside the data; responding: what answers a trigger; answering: in which slots; duration: `1h 30m`
hops         which channels a document names; mentions: which secrets; places: which files, and whether it may;
             needs: what else its worker has to open
on_error     what becomes of an event that is refused
omitted      what other languages of this kind have and this one does not, for its faults
"""
