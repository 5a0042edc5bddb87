// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.lifecycle;

import android.app.Activity;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public interface ActivityLifecycleCallback {
  void onActivityLifecycleChanged(Activity activity, Stage stage);
}
