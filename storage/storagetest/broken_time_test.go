package storagetest

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// keeping tells the time by a function of its own.
type keeping struct {
	*toy
	time func(t *toy) time.Time
}

func (k keeping) Time() (time.Time, time.Duration, bool) { return k.time(k.toy), 0, true }

func timeFlaws() []flaw {
	keeps := func(name string, tell func(t *toy) time.Time) flaw {
		return flaw{name, []string{"S38"}, func(t *toy) storage.Store { return keeping{t, tell} }}
	}
	return []flaw{
		keeps("waits_for_updates_to_tell_the_time", func(t *toy) time.Time {
			t.mu.Lock()
			defer t.mu.Unlock()
			return instant(0).Add(storage.Elapsed())
		}),
		keeps("tells_the_time_of_its_own_machine", func(t *toy) time.Time {
			return instant(0).Add(storage.Elapsed() + time.Duration(slices.Index(t.handles, t))*time.Second)
		}),
		keeps("tells_the_time_of_its_last_answer", func(*toy) time.Time { return instant(0) }),
	}
}
