package storagetest

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// checkEachField puts records that differ from others in one field. The fields are those that the types have:
// a new one of which an encoding or Record.Equal does not know is found here.
func checkEachField(e *env) error {
	var want []storage.Record
	var errs []error
	for _, f := range reflect.VisibleFields(reflect.TypeFor[storage.Record]()) {
		if f.Anonymous || f.Name == "ID" || f.Name == "Subject" {
			continue
		}
		r := e.record("ana", ended(instant(2), storage.EndRevoked), func(r *storage.Record) { r.MaxUses, r.UsesLeft = 3, 1 })
		was := r
		setOther(reflect.ValueOf(&r).Elem().FieldByIndex(f.Index))
		if r.Equal(was) {
			errs = append(errs, fmt.Errorf("%s: Record.Equal does not compare the field, or setOther cannot set it", f.Name))
		}
		want = append(want, r)
	}
	return errors.Join(append(errs, roundTrip(func(*env) []storage.Record { return want })(e))...)
}

// setOther sets field, of a record, to another value that a store must take.
func setOther(field reflect.Value) {
	switch p := field.Addr().Interface().(type) {
	case *time.Time:
		*p = p.Add(time.Hour)
	case *time.Duration:
		*p += time.Second
	case *storage.Digest:
		*p = digest(-1)
	case *storage.Sealed:
		*p = storage.NewSealed("sealed")
	case *storage.ID:
		p[15]++
	case *storage.Thumbprint:
		p[31]++
	default:
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Int:
			field.SetInt(field.Int() + 1)
		case reflect.Uint8, reflect.Uint32:
			field.SetUint(field.Uint() + 1)
		}
	}
}
