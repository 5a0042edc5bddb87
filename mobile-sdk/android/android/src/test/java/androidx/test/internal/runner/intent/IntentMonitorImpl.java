// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.internal.runner.intent;

import android.content.Intent;
import androidx.test.runner.intent.IntentMonitor;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class IntentMonitorImpl implements IntentMonitor {
  public void signalIntent(Intent intent) {}
}
