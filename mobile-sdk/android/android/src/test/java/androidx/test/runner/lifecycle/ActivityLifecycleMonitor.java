// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.lifecycle;

import android.app.Activity;
import java.util.Collection;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public interface ActivityLifecycleMonitor {
  void addLifecycleCallback(ActivityLifecycleCallback callback);

  void removeLifecycleCallback(ActivityLifecycleCallback callback);

  Stage getLifecycleStageOf(Activity activity);

  Collection<Activity> getActivitiesInStage(Stage stage);
}
