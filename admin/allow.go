package admin

import "os"

// Caller is a user of the system whose programs may call a Serve. Without Full, the user may only
// call what writes nothing.
type Caller struct {
	UID  int
	Full bool
}

// Allow lists the users that may call, besides the user of the program, who is always Full. Where a
// user is listed twice, the first entry decides. The superuser is a user like any other.
//
// Of other users, only the superuser reaches a socket of Listen. A program that allows others makes
// its listener itself, in a directory of the superuser, since Dial trusts no other.
type Allow []Caller

// caller returns what the user uid may do, and false where the user may do nothing.
func (a Allow) caller(uid int) (Caller, bool) {
	if uid == os.Geteuid() {
		return Caller{UID: uid, Full: true}, true
	}
	for _, c := range a {
		if c.UID == uid {
			return c, true
		}
	}
	return Caller{}, false
}
