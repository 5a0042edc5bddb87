// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.internal.runner.lifecycle;

import android.app.Activity;
import androidx.test.runner.lifecycle.ActivityLifecycleCallback;
import androidx.test.runner.lifecycle.ActivityLifecycleMonitor;
import androidx.test.runner.lifecycle.Stage;
import java.util.Collection;
import java.util.Collections;

/** See androidx.test.platform.app.InstrumentationRegistry: the tests here have no activity. */
public final class ActivityLifecycleMonitorImpl implements ActivityLifecycleMonitor {
  @Override
  public void addLifecycleCallback(ActivityLifecycleCallback callback) {}

  @Override
  public void removeLifecycleCallback(ActivityLifecycleCallback callback) {}

  @Override
  public Stage getLifecycleStageOf(Activity activity) {
    return Stage.DESTROYED;
  }

  @Override
  public Collection<Activity> getActivitiesInStage(Stage stage) {
    return Collections.emptyList();
  }

  public void signalLifecycleChange(Stage stage, Activity activity) {}
}
