package bolt

// LogAtOnce has a store that is opened with o make its log with the first group.
func LogAtOnce(o *Options) { o.logAtOnce = true }
