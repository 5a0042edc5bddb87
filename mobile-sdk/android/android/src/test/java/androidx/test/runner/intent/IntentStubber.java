// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.intent;

import android.app.Instrumentation.ActivityResult;
import android.content.Intent;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public interface IntentStubber {
  ActivityResult getActivityResultForIntent(Intent intent);
}
