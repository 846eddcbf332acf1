//! Which graphics processors there are, and opening one.

use super::{prepare, shader};
use crate::kernel::{DeviceInfo, GpuError, Schedules, Tuning};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.info).finish()
    }
}

/// A device that is open, with the shader compiled for it.
pub struct Device {
    pub(super) info: DeviceInfo,
    pub(super) handle: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Searches.
    pub(super) pipeline: wgpu::ComputePipeline,
    /// Prepares rows.
    pub(super) preparation: wgpu::ComputePipeline,
    pub(super) tuning: Tuning,
    /// What the driver complained of outside of any call's own result.
    pub(super) complaint: Arc<Mutex<Option<String>>>,
}

/// The most that is asked of a device for one buffer.
const STORAGE_BYTES_MAX: u64 = 128 << 20;

/// The devices there are; real ones before software ones.
///
/// # Errors
/// [`GpuError::NoDevice`] if there are none.
pub fn devices() -> Result<Vec<DeviceInfo>, GpuError> {
    let devices: Vec<_> = adapters()
        .iter()
        .enumerate()
        .map(|(index, adapter)| describe(index, adapter))
        .collect();
    if devices.is_empty() {
        return Err(GpuError::NoDevice);
    }
    Ok(devices)
}

impl Device {
    /// Opens the device with this number, or the first.
    pub fn open(index: Option<usize>) -> Result<Self, GpuError> {
        let adapters = adapters();
        if adapters.is_empty() {
            return Err(GpuError::NoDevice);
        }
        let index = index.unwrap_or(0);
        let adapter = adapters
            .get(index)
            .ok_or(GpuError::NoSuchDevice(index, adapters.len()))?;
        let info = describe(index, adapter);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("miner"),
            required_limits: wgpu::Limits::downlevel_defaults()
                .or_worse_values_from(&adapter.limits()),
            ..Default::default()
        };
        // Sixty-four kibibytes of schedule to a window are within every profile's default.
        let storage_bytes = adapter.limits().max_storage_buffer_binding_size;
        let storage_bytes = storage_bytes.min(STORAGE_BYTES_MAX);
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: wgpu::Limits {
                max_uniform_buffer_binding_size: 64 << 10,
                max_storage_buffer_binding_size: storage_bytes,
                ..descriptor.required_limits
            },
            ..descriptor
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        let complaint = Arc::new(Mutex::new(None));
        let (uncaptured, lost) = (Arc::clone(&complaint), Arc::clone(&complaint));
        device.on_uncaptured_error(Arc::new(move |error| note(&uncaptured, &error.to_string())));
        device.set_device_lost_callback(move |_, message| note(&lost, &message));

        let tuning = Tuning::for_kind(info.kind).within(storage_bytes);
        let pipeline = compile(&device, &tuning);
        let preparation = compile_preparation(&device);
        Ok(Self {
            info,
            handle: device,
            queue,
            pipeline,
            preparation,
            tuning,
            complaint,
        })
    }

    /// The same device with the work cut in another way, as far as it can.
    #[must_use]
    pub fn tuned(&self, tuning: Tuning) -> Self {
        let limits = self.handle.limits();
        let tuning = tuning.within(limits.max_storage_buffer_binding_size);
        Self {
            info: self.info.clone(),
            handle: self.handle.clone(),
            queue: self.queue.clone(),
            pipeline: compile(&self.handle, &tuning),
            preparation: self.preparation.clone(),
            tuning,
            complaint: Arc::clone(&self.complaint),
        }
    }

    /// How the work is cut.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// What the device is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }
}

fn compile(device: &wgpu::Device, tuning: &Tuning) -> wgpu::ComputePipeline {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some("sha-1"),
        source: wgpu::ShaderSource::Wgsl(shader::source(tuning).into()),
    };
    let checks = wgpu::ShaderRuntimeChecks::unchecked();
    // SAFETY: What the checks would catch cannot happen. The loop ends after `head.x` columns,
    // which the host keeps to the window's size; rows are read at the invocation's own place,
    // and the host starts no more work groups than there are rows in the buffer for; the
    // places of hits are compared with the array's length.
    let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
    let entry = |binding, buffer| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: buffer,
        count: None,
    };
    let buffer = |ty, has_dynamic_offset| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset,
        min_binding_size: None,
    };
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let schedules = match tuning.schedules {
        Schedules::Uniform => wgpu::BufferBindingType::Uniform,
        Schedules::Storage => storage(true),
    };
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &[
            entry(0, buffer(schedules, true)),
            entry(1, buffer(storage(true), false)),
            entry(2, buffer(storage(false), false)),
        ],
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn compile_preparation(device: &wgpu::Device) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("rows"),
        source: wgpu::ShaderSource::Wgsl(prepare::source().into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

fn note(complaint: &Mutex<Option<String>>, message: &str) {
    let first_line = message
        .lines()
        .next()
        .unwrap_or("no reason given")
        .to_owned();
    complaint
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(first_line);
}

fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|adapter| {
        let limits = adapter.limits();
        limits.max_uniform_buffer_binding_size >= 64 << 10
            && limits.max_storage_buffer_binding_size >= 32 << 20
    });
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
}

fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::VirtualGpu => 1,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> DeviceInfo {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    DeviceInfo {
        index,
        name: info.name,
        interface: info.backend.to_string(),
        kind,
    }
}
