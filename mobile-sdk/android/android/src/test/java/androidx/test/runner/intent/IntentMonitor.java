// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.intent;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public interface IntentMonitor {}
