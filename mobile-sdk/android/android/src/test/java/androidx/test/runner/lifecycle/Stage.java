// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.lifecycle;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public enum Stage {
  PRE_ON_CREATE, CREATED, STARTED, RESUMED, PAUSED, STOPPED, RESTARTED, DESTROYED
}
